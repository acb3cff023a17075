"""The page of a study, which asks people, and a server for it."""

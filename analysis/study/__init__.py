"""A study: people compare pictures of a sweep, two at a time, and do not know which is which."""

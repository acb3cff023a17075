"""Entry points: how a run happens. The only code that sees Hydra's config."""

"""Results: one tidy table of all run directories, and figures with the numbers behind them."""

"""What came out: run directories become one tidy table, and figures with the numbers behind them."""

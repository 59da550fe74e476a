"""The certified Lasso: answers that carry a bound on how far they are from the best."""

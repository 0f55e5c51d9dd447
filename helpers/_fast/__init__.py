"""Fast EM: the same climb by expected sufficient statistics, compiled as one loop."""

"""Recording runs from training code, wherever it runs: `pinnace.iteration(…)`."""

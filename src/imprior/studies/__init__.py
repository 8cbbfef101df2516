"""What trains several times: tuning, depth, optimisers."""

"""Learned image priors: trained, judged honestly, and put to work on ordinary machines."""

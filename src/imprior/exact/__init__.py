"""Networks in whole numbers: the same result on every machine, whatever the order of summation."""

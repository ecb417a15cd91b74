"""Sequential tests that may be looked at as often as one likes. Pure: numpy and scipy only, nothing of ours.

moments     additive sums of one arm in one stratum
spending    how much of alpha may be spent by a given information time
lattice     where a null process may stand that has not been stopped yet; cuts boundaries from it
counts      0/1 outcomes: exact hypergeometric steps of the lattice
scores      means: skew-corrected steps of the lattice
sequential  a test: lattice, observation and what is left of its alpha
evidence    e-values, for display only
"""

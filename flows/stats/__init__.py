"""Sequential tests that may be looked at as often as one likes, from numpy, scipy and the tally alone.

pair          the tallies of both arms of one stratum
spending      how much of alpha may be spent by a given information time
lattice       where a null process may stand that has not been stopped yet; cuts boundaries from it
counts        0/1 outcomes: exact hypergeometric steps of the lattice
scores        means: skew-corrected steps of the lattice
bets          means of bounded values: what a gambler makes of them, valid for every shape
sequential    a test: lattice, observation and what is left of its alpha
cohorts       returning units, from sums over them
rate_below    is a rate below a fixed share?
rate_above    is a rate above a fixed share?
matched       pairs of a shadow: discordant pairs, rates of disagreement
sample_ratio  did each arm get its share of rows?
share_evidence  the same question, answered by a p-value
log_rank      do labels arrive alike in both arms?
drift         do predictions lie elsewhere?
slices        how alpha is divided over slices of the traffic
increment     the rows that are new since the last look
trial         a metric's harm test and its ladder of margins
intervals     estimates of a trial and their intervals
confidence_sequences  intervals of a mean and of a rate that hold at every look
evidence      e-values, for display only
populations   what values are drawn from, for forecasts, certificates and proofs
"""

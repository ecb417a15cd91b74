"""From a plan and tallies to looks and verdicts: gates of every kind judge here, by `sluicegate.flows.stats`."""

"""From a plan and tallies to looks and verdicts. The only user of `sluicegate.flows.stats` that judges."""

"""The checks of `sluice doctor`: what is wrong on this machine and at the servers, each with its fix."""

"""The checks of `sluice doctor` on this machine and its servers, each with a fix."""

"""Gates without a running system: replay of data, certificates, forecasts."""

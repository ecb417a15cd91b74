"""One file a migration, numbered; what ran somewhere is never changed."""

"""Exchange candles, accounted for: fetched, cleaned, kept in Parquet and PostgreSQL."""

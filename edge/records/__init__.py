"""Getting records out of the box: CSV and Parquet files that can prove themselves; runs beside the gate, never inside it."""

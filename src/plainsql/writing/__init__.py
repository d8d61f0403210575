"""Writing rows to files and streams, batch by batch, whole or not at all.

RowStream ─ batches ─▶ csv_form | jsonl_form | parquet_form ─ whole_file ─▶ a file
"""

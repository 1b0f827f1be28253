"""The other side of each port: Argo, Backstage, SQLite, files."""

"""HTTP: operations become routes, errors become problem documents."""

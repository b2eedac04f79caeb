"""What several suites of the repository share: clients, proxies, servers and fakes."""

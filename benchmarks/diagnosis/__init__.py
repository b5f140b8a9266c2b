"""How fast a verdict comes, what reachability costs, and that neither costs anything while nothing is wrong."""

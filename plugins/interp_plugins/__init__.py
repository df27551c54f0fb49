"""Every model, data set, metric, method, tracker and launcher that ships with the tool; each is found through its entry point."""

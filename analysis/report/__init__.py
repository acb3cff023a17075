"""Reports: a folder of HTML pages that opens from disk, without a network, a server or a framework."""

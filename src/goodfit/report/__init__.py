"""Reports: plain records in; terminal and HTML out. No recipe, run or model is seen here."""

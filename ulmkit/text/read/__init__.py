"""Documents: from files, folders and hub data sets as people have them to text and labels."""

"""Tables of samples as sensors, phones and spreadsheets write them: one module for each concern."""

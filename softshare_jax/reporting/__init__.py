"""What `report` shows of a workdir: tables, figures and the page that holds them."""

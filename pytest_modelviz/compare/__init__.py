"""Numbers against numbers, passes against passes, trees against trees. numpy only."""

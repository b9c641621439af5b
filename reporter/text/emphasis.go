package text

// Bold, OK and Failed emphasise s on a terminal with colour. The words of s carry
// the meaning: they read the same without.

// Bold is for a title.
func Bold(s string, colour bool) string { return paint(colour, "1", s) }

// OK is for what succeeded.
func OK(s string, colour bool) string { return paint(colour, green, s) }

// Failed is for what failed.
func Failed(s string, colour bool) string { return paint(colour, red, s) }

package config

// Suggest returns the one of names that word most likely is a misspelling of, or
// "" where none is near.
func Suggest(word string, names []string) string {
	best, least := "", max(2, len(word)/4)+1
	if len(word) > 128 {
		return ""
	}
	for _, name := range names {
		if d := distance(word, name); d < least && d < len(word) {
			best, least = name, d
		}
	}
	return best
}

// didYouMean asks for the name that word most likely is a misspelling of.
func didYouMean(word string, names []string) string {
	if name := Suggest(word, names); name != "" {
		return "; did you mean " + name + "?"
	}
	return ""
}

// distance is how many bytes have to be added, removed, replaced or exchanged with
// their neighbour to make b of a; letters of another case differ by nothing.
func distance(a, b string) int {
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			differ := 1
			if lower(a[i-1]) == lower(b[j-1]) {
				differ = 0
			}
			next[j] = min(last[j]+1, next[j-1]+1, last[j-1]+differ)
			if i > 1 && j > 1 && lower(a[i-1]) == lower(b[j-2]) && lower(a[i-2]) == lower(b[j-1]) {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

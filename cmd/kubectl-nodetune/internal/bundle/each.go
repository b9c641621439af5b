package bundle

import "io"

// EachReport calls visit with each report, until it returns false.
func (b *Bundle) EachReport(visit func(node string, raw []byte) bool) error {
	return b.walk(func(name string, r io.Reader) (bool, error) {
		node, ok := reportNode(name)
		if !ok {
			return true, nil
		}
		raw, err := io.ReadAll(io.LimitReader(r, maxEntryBytes))
		if err != nil {
			return false, err
		}
		return visit(node, raw), nil
	})
}

package archive

import (
	"slices"
	"strings"
	"testing"
)

// Whatever a directory holds, an archive's parts lead to names that exist in it.
func FuzzArchivesOf(f *testing.F) {
	f.Add("app.log", "app.log.20260131-110000000000\n.app.log.20260131-110000000000.gz.part\napp.log.20260131-110000.gz")
	f.Add(".x", "..x.20260131-110000000000.copy\n.x.20260131-110000000000")
	f.Fuzz(func(t *testing.T, base, names string) {
		all := strings.Split(names, "\n")
		for _, a := range List(base, all) {
			if a.Plain && !slices.Contains(all, a.Name) {
				t.Errorf("%q is not there", a.Name)
			}
			if a.Compression != None && !slices.Contains(all, a.Name+a.Compression.Suffix()) {
				t.Errorf("%q is not there compressed", a.Name)
			}
			if a.Name == base || !strings.HasPrefix(a.Name, base+".") {
				t.Errorf("%q is no archive of %q", a.Name, base)
			}
			for _, p := range append(slices.Clone(a.Parts), a.Copy) {
				if p != "" && (!slices.Contains(all, p) || p[0] != '.') {
					t.Errorf("%q is not there", p)
				}
			}
		}
	})
}

package hostconfig

import (
	"github.com/nodetune/nodetune/internal/hostfs"
)

// LogrotatePaths reports which paths logrotate's configuration on the host names:
// those are not ours to rotate. Where the host's /etc is not to be seen nothing is
// known.
func LogrotatePaths(procfs string, rootfs hostfs.Root) (func(file string) bool, error) {
	host, done, err := hostfs.WithEtc(procfs, rootfs)
	if err != nil {
		return nil, err
	}
	defer done()
	stanzas := ReadLogrotate(host.Files()).Stanzas
	return func(file string) bool {
		for _, s := range stanzas {
			if s.Matches(file) {
				return true
			}
		}
		return false
	}, nil
}

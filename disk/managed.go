package disk

// logrotatePaths reports which paths logrotate's configuration on the host names:
// those are not ours to rotate. Where the host's /etc is not to be seen nothing is
// known.
func logrotatePaths(procfs string, rootfs hostRoot) (func(file string) bool, error) {
	host, done, err := rootWithEtc(procfs, rootfs)
	if err != nil {
		return nil, err
	}
	defer done()
	stanzas := readLogrotate(host.files()).stanzas
	return func(file string) bool {
		for _, s := range stanzas {
			if s.manages(file) {
				return true
			}
		}
		return false
	}, nil
}

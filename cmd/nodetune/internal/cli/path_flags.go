package cli

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/nodetune/nodetune/cmd/nodetune/internal/host"
)

// rootFlag is a flag that names one root, and the environment variable that
// applies where the flag is not given. A DaemonSet sets the variables, so that
// `kubectl exec POD -- /nodetune check` reads the host and not its container.
type rootFlag struct {
	root                       *string
	name, variable, path, help string
}

func rootFlags(r *host.Roots) []rootFlag {
	return []rootFlag{
		{&r.Procfs, "path.procfs", "NODETUNE_PATH_PROCFS", "/proc", "procfs mount point"},
		{&r.Sysfs, "path.sysfs", "NODETUNE_PATH_SYSFS", "/sys", "sysfs mount point"},
		{&r.Rootfs, "path.rootfs", "NODETUNE_PATH_ROOTFS", "/", "rootfs mount point"},
	}
}

// addRootFlags adds the flags --path.* to flags.
func addRootFlags(r *host.Roots, flags *pflag.FlagSet) {
	for _, f := range rootFlags(r) {
		help := f.help
		if f.root == &r.Rootfs {
			help += "; /etc, /run and /usr/lib are looked up below it"
		}
		flags.StringVar(f.root, f.name, f.path, help+" (environment: "+f.variable+")")
	}
}

// rootsFromEnvironment takes each root whose flag was not given from its variable.
// An empty variable counts as unset. The error of a variable that names no
// directory starts with the name of the variable.
func rootsFromEnvironment(r *host.Roots, flags *pflag.FlagSet, getenv func(string) string) error {
	for _, f := range rootFlags(r) {
		value := getenv(f.variable)
		if value == "" || flags.Changed(f.name) {
			continue
		}
		st, err := os.Stat(value)
		if err != nil {
			return fmt.Errorf("%s: %w: set it to the %s, or give --%s", f.variable, err, f.help, f.name)
		}
		if !st.IsDir() {
			return fmt.Errorf("%s: %q is not a directory: set it to the %s, or give --%s", f.variable, value, f.help, f.name)
		}
		*f.root = value
	}
	return nil
}

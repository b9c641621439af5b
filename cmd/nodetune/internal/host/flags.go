package host

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// rootFlag is a flag that names one root, and the environment variable that
// applies where the flag is not given. A DaemonSet sets the variables, so that
// `kubectl exec POD -- /nodetune check` reads the host and not its container.
type rootFlag struct {
	root                       *string
	name, variable, path, help string
}

func (r *Roots) flags() []rootFlag {
	return []rootFlag{
		{&r.Procfs, "path.procfs", "NODETUNE_PATH_PROCFS", "/proc", "procfs mount point"},
		{&r.Sysfs, "path.sysfs", "NODETUNE_PATH_SYSFS", "/sys", "sysfs mount point"},
		{&r.Rootfs, "path.rootfs", "NODETUNE_PATH_ROOTFS", "/", "rootfs mount point"},
	}
}

// Register adds the flags --path.* to flags.
func (r *Roots) Register(flags *pflag.FlagSet) {
	for _, f := range r.flags() {
		help := f.help
		if f.root == &r.Rootfs {
			help += "; /etc, /run and /usr/lib are looked up below it"
		}
		flags.StringVar(f.root, f.name, f.path, help+" (environment: "+f.variable+")")
	}
}

// FromEnvironment takes each root whose flag was not given from its variable.
// An empty variable counts as unset. The error of a variable that names no
// directory starts with the name of the variable.
func (r *Roots) FromEnvironment(flags *pflag.FlagSet, getenv func(string) string) error {
	for _, f := range r.flags() {
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

// Nodetune keeps a Linux node from starving its log collectors: it holds the
// inotify and file-descriptor sysctls above safe floors.
//
// This package only starts the command line.
package main

import (
	"github.com/nodetune/nodetune/cmd/nodetune/internal/cli"
)

func main() { cli.Main() }

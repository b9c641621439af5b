// Command kustomize builds Kustomizations as `kubectl kustomize` does, with the
// kustomize of the module file that it was built with: one for each supported
// minor version of kubectl, named as that. Of many directories, it reads its own
// schemas once, which takes ten times as long as to build one.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: kustomize DIRECTORY...")
		os.Exit(2)
	}
	failed := false
	for _, dir := range os.Args[1:] {
		text, err := build(dir)
		if err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "kustomize: %s: %v\n", dir, err)
		}
		// A byte 0 ends what a directory makes.
		if _, err := os.Stdout.Write(append(text, 0)); err != nil {
			fmt.Fprintln(os.Stderr, "kustomize:", err)
			os.Exit(1)
		}
	}
	if failed {
		os.Exit(1)
	}
}

func build(dir string) ([]byte, error) {
	m, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	return m.AsYaml()
}

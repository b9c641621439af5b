package fleet

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/internal/safetext"
)

// Table writes nodes for people, with what the agents answered where live is set.
func Table(w io.Writer, nodes []Node, live bool, now time.Time) error {
	if len(nodes) == 0 {
		_, err := fmt.Fprintln(w, "no nodes")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	head := "NODE\tREADY\tSTATE\tSINCE"
	if live {
		head += "\tINSTANCES\tWATCHES\tOPEN FILES\tTOP"
	}
	fmt.Fprintln(t, head+"\tWHY")
	for _, n := range nodes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s", safetext.String(n.Name), n.Ready, n.State, ago(n.Since, now))
		why := n.Reason
		if n.StartupTaint {
			why = strings.TrimPrefix(why+"; the startup gate is closed", "; ")
		}
		if live {
			fmt.Fprintf(t, "\t%s", liveColumns(n.Live))
			if n.Live != nil && n.Live.Error != "" {
				why = strings.TrimPrefix(why+"; "+n.Live.Error, "; ")
			}
		}
		fmt.Fprintf(t, "\t%s\n", safetext.String(why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	count := make(map[State]int)
	for _, n := range nodes {
		count[n.State]++
	}
	what := "nodes"
	if len(nodes) == 1 {
		what = "node"
	}
	_, err := fmt.Fprintf(w, "\n%d %s: %d with a problem, %d unknown, %d silent, %d ok\n", len(nodes), what,
		count[Problem], count[Unknown], count[Silent], count[OK])
	return err
}

func liveColumns(l *LiveUse) string {
	if l == nil || l.Error != "" {
		return "?\t?\t?\t?"
	}
	top := "-"
	if l.Top != nil {
		top = l.Top.Comm
		switch {
		case l.Top.Pod != "":
			top = l.Top.Namespace + "/" + l.Top.Pod
		case l.Top.Unit != "":
			top = l.Top.Unit
		}
		top = fmt.Sprintf("%s (%d)", safetext.String(top), l.Top.Used)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s", useColumn(l.Instances), useColumn(l.Watches), useColumn(l.OpenFiles), top)
}

func useColumn(u Use) string {
	if u.Limit < 0 {
		return fmt.Sprintf("%d", u.Used)
	}
	return fmt.Sprintf("%d/%d %.0f%%", u.Used, u.Limit, u.Percent())
}

// ago is how long ago t was.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return field.HumanDuration(now.Sub(t))
}

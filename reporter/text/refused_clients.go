package text

import (
	"fmt"

	"github.com/nodetune/nodetune/reporter"
)

// RefusedClientsText says what an agent refused; "" where nothing was.
func RefusedClientsText(r *reporter.RefusedClients) string {
	if r.None() {
		return ""
	}
	return fmt.Sprintf("the agent refused %s and %s of clients that connect too often, since its start",
		counted(r.Connections, "connection"), counted(r.Requests, "request"))
}

func counted(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

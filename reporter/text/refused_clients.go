package text

import (
	"fmt"

	"github.com/nodetune/nodetune/internal/field"
	"github.com/nodetune/nodetune/reporter"
)

// RefusedClientsText says what an agent refused; "" where nothing was.
func RefusedClientsText(r *reporter.RefusedClients) string {
	if r.None() {
		return ""
	}
	return fmt.Sprintf("the agent refused %s and %s of clients that connect too often, since its start",
		field.Count(r.Connections, "connection", "connections"), field.Count(r.Requests, "request", "requests"))
}

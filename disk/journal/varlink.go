package journal

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// callTimeout is how long journald may take to begin new files: 3.5 ms when it
// has nothing else to do.
const callTimeout = 10 * time.Second

// Call calls a method of journald without parameters, over its Varlink socket, and
// returns the error that journald answers with.
func Call(ctx context.Context, socket, method string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("ask journald: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if t, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(t)
	}
	call, err := json.Marshal(map[string]any{"method": method, "parameters": struct{}{}})
	if err != nil {
		return err
	}
	if _, err := conn.Write(append(call, 0)); err != nil {
		return fmt.Errorf("ask journald: %w", err)
	}
	b, err := bufio.NewReaderSize(conn, 4096).ReadSlice(0)
	if err != nil {
		return fmt.Errorf("read journald's answer: %w", err)
	}
	var answer struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(b[:len(b)-1], &answer); err != nil {
		return fmt.Errorf("read journald's answer: %w", err)
	}
	if answer.Error != "" {
		return fmt.Errorf("journald: %s: %s", method, answer.Error)
	}
	return nil
}

package tunneltest

import (
	"bytes"
	"encoding/json"
	"io"
	"sync"
	"time"
)

// eventLog writes JSON lines as the zerolog library does: level first, message last.
type eventLog struct {
	mu sync.Mutex
	w  io.Writer
}

// info takes the names and values of further fields in turn.
func (l *eventLog) info(message string, fields ...string) { l.event("info", message, fields) }

// error is info at another level.
func (l *eventLog) error(message string, fields ...string) { l.event("error", message, fields) }

func (l *eventLog) event(level, message string, fields []string) {
	all := append([]string{"level", level}, fields...)
	all = append(all, "time", time.Now().UTC().Format(time.RFC3339), "message", message)
	var line bytes.Buffer
	for i, s := range all {
		line.WriteString([]string{",", ":"}[i%2])
		line.Write(quoteJSON(s))
	}
	line.Bytes()[0] = '{'
	line.WriteString("}\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.w.Write(line.Bytes())
}

// quoteJSON leaves the & of a URL as it is, where json.Marshal would not.
func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

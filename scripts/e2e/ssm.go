//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// An ssmService is AWS Systems Manager as far as "aws ssm start-session" asks it.
type ssmService struct {
	*httptest.Server
	refusal string // the error that it answers with, "" for none
}

func startSSM(t testing.TB, refusal string) *ssmService {
	t.Helper()
	s := &ssmService{refusal: refusal}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *ssmService) serve(w http.ResponseWriter, r *http.Request) {
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch {
	case s.refusal != "":
		kind, message, _ := strings.Cut(s.refusal, ": ")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type": %q, "message": %q}`, kind, message)
	case operation == "StartSession":
		fmt.Fprint(w, `{"SessionId": "me-0a1b2c3d4e5f60718", "TokenValue": "a-token", "StreamUrl": "wss://127.0.0.1:1/v1/data-channel/me"}`)
	case operation == "TerminateSession":
		fmt.Fprint(w, `{"SessionId": "me-0a1b2c3d4e5f60718"}`)
	default:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type": "InvalidAction", "message": "there is no such operation"}`)
	}
}

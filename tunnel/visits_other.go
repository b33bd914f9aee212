//go:build !linux

package tunnel

type endings struct{}

func watchEndings(...uint16) (endings, error)  { return endings{}, errNoDiag }
func (endings) next() (ended []socket, _ bool) { return nil, false }
func (endings) descriptor() int                { return -1 }
func (endings) close()                         {}

func (diag) traces(uint16) ([]socket, error) { return nil, errNoDiag }
func (diag) closed(uint16) ([]socket, error) { return nil, errNoDiag }

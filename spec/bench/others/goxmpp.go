// goxmpp: the program for go-xmpp in `make bench`, as a client without TLS. Prints microseconds of CPU (user and
// system) for a stanza.
//
//	goxmpp flood N         what comes from `peer flood` is counted
//	goxmpp send N          small messages to `peer sink`
//	goxmpp ping N DEPTH    DEPTH at a time, with `peer echo`
//
// It answers the pings in the flood.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"syscall"

	"github.com/mattn/go-xmpp"
)

func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}

func receive(c *xmpp.Client) interface{} {
	stanza, err := c.Recv()
	if err != nil {
		log.Fatal(err)
	}
	return stanza
}

// The login has sent presence already.
func flood(c *xmpp.Client, n int) {
	for seen := 0; seen < n; seen++ {
		receive(c)
	}
}

func send(c *xmpp.Client, n int) {
	for i := 0; i < n; i++ {
		if _, err := c.Send(xmpp.Chat{Remote: "romeo@example.net", Type: "chat", Text: "Hi there, how are you?"}); err != nil {
			log.Fatal(err)
		}
	}
}

func ping(c *xmpp.Client, n, depth int) {
	asked, waiting := 0, map[string]bool{}
	ask := func() {
		asked++
		id, err := c.RawInformation(c.JID(), "bench.test", strconv.Itoa(asked), "get", "<ping xmlns='urn:xmpp:ping'/>")
		if err != nil {
			log.Fatal(err)
		}
		waiting[id] = true
	}
	for asked < depth {
		ask()
	}
	for len(waiting) > 0 {
		if iq, ok := receive(c).(xmpp.IQ); ok && waiting[iq.ID] {
			delete(waiting, iq.ID)
			if asked < n {
				ask()
			}
		}
	}
}

func number(i int) int {
	if len(os.Args) <= i {
		log.Fatal("usage: peer ... goxmpp flood|send N | ping N DEPTH")
	}
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		log.Fatal(err)
	}
	return n
}

func main() {
	n := number(2)
	options := xmpp.Options{Host: "127.0.0.1:" + os.Getenv("BENCH_PORT"), User: "a@bench.test", Password: "secret",
		NoTLS: true, InsecureAllowUnencryptedAuth: true}
	c, err := options.NewClient()
	if err != nil {
		log.Fatal(err)
	}
	since := cpu()
	switch os.Args[1] {
	case "flood":
		flood(c, n)
	case "send":
		send(c, n)
	case "ping":
		ping(c, n, number(3))
	}
	fmt.Printf("%.6f\n", (cpu()-since)/float64(n))
}

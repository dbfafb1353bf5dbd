// delay holds packets back between places, as a long line would: for kernels without netem.
//
//	delay DEVICE RULES.json
//
// It makes the TUN device, reads IP packets that the kernel routes into it, keeps each for the delay of its source and
// destination and writes it back, for the kernel to route on. Packets of one direction keep their order. The rules:
//
//	{"places": {"a": ["10.100.1.0/24"], "b": ["10.100.2.0/24"]},
//	 "lines": [{"from": "a", "to": "b", "milliseconds": 40, "jitter": 5}]}
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	// A gigabit per second and 100 ms are 8000 packets under way; a router drops what is beyond, and so does this.
	queueLength = 16384
	// The largest packet that IP has.
	packetSize = 65536
	// <linux/if_tun.h>: a device of IP packets, without a header of its own before each.
	ioctlSetInterface, flagTun, flagNoHeader = 0x400454ca, 0x0001, 0x1000
)

type rules struct {
	Places map[string][]netip.Prefix
	Lines  []struct {
		From, To             string
		Milliseconds, Jitter float64
	}
}

type line struct{ from, to string }

type held struct {
	until  time.Time
	packet []byte
}

// direction is one line's queue; its own goroutine empties it.
type direction struct {
	delay, jitter time.Duration
	queue         chan held
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: delay DEVICE RULES.json")
	}
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal("delay: ", err)
	}
	var told rules
	if err := json.Unmarshal(text, &told); err != nil {
		log.Fatal("delay: the rules cannot be read: ", err)
	}
	device, err := openDevice(os.Args[1])
	if err != nil {
		log.Fatal("delay: ", err)
	}
	directions := map[line]*direction{}
	for _, l := range told.Lines {
		directions[line{l.From, l.To}] = start(device, milliseconds(l.Milliseconds), milliseconds(l.Jitter))
	}
	undelayed := start(device, 0, 0)
	buffer := make([]byte, packetSize)
	for {
		n, err := syscall.Read(device, buffer)
		if err == syscall.EINTR || err == syscall.EAGAIN {
			continue
		}
		if err != nil {
			log.Fatal("delay: ", err)
		}
		way := undelayed
		if source, destination, ok := addresses(buffer[:n]); ok {
			if d := directions[line{told.place(source), told.place(destination)}]; d != nil {
				way = d
			}
		}
		way.hold(buffer[:n])
	}
}

func start(device int, delay, jitter time.Duration) *direction {
	d := &direction{delay, jitter, make(chan held, queueLength)}
	go func() {
		for h := range d.queue {
			time.Sleep(time.Until(h.until))
			// A packet that the kernel does not take is lost, as on any line.
			_, _ = syscall.Write(device, h.packet)
		}
	}()
	return d
}

func (d *direction) hold(packet []byte) {
	delay := d.delay + time.Duration((rand.Float64()*2-1)*float64(d.jitter))
	select {
	case d.queue <- held{time.Now().Add(delay), append([]byte(nil), packet...)}:
	default:
	}
}

func (r *rules) place(a netip.Addr) string {
	for name, prefixes := range r.Places {
		for _, p := range prefixes {
			if p.Contains(a) {
				return name
			}
		}
	}
	return ""
}

func addresses(packet []byte) (source, destination netip.Addr, ok bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return
	}
	source, _ = netip.AddrFromSlice(packet[12:16])
	destination, _ = netip.AddrFromSlice(packet[16:20])
	return source, destination, true
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

func openDevice(name string) (int, error) {
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR, 0)
	if err != nil {
		return 0, fmt.Errorf("/dev/net/tun: %w", err)
	}
	var request [40]byte
	copy(request[:syscall.IFNAMSIZ-1], name)
	*(*uint16)(unsafe.Pointer(&request[syscall.IFNAMSIZ])) = flagTun | flagNoHeader
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), ioctlSetInterface, uintptr(unsafe.Pointer(&request))); e != 0 {
		return 0, fmt.Errorf("making %s: %w", name, e)
	}
	return fd, nil
}

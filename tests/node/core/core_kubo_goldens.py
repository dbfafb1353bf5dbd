"""CIDs as `ipfs add --only-hash -Q` of Kubo 0.43.0 gave them.

The content is the first `size` bytes of sha256(0) sha256(1) sha256(2) …, each number as 8 bytes, big-endian.
The flags of each profile stand beside it.
"""

# profile's name → (cid version, raw leaves, chunk size, links), {size: CID}
KUBO = {
    # --cid-version=1 --raw-leaves=true --chunker=size-1048576 --max-file-links=1024
    "unixfs-v1-2025": (
        (1, True, 1048576, 1024),
        {
            0: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            1: "bafkreic2nz5eovfprz7up7eusmca3bj6pma6hhktpsy52nj4so324whlhu",
            1048575: "bafkreih2276hw3twjawppx2mt73ybyd3o4k5zgdjljclq7n3mlg2ubgd7u",
            1048576: "bafkreideeyd2kwgjzezoiwhuyouepeupk4xficfzqshba3txc2ee4o27bi",
            1048577: "bafybeiaexsalcsoug7gc4g3igi4ly6f4hiyrvlxgraph7oxye3zqduuuli",
            3145733: "bafybeib55gwktfwvumw7nghd3opvxs56ro2d3xvnrzdxru5cr6vjn5n7fy",
        },
    ),
    # --cid-version=0 --raw-leaves=false --chunker=size-262144 --max-file-links=174
    "unixfs-v0-2015": (
        (0, False, 262144, 174),
        {
            0: "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
            1: "QmboLZtGz8oLt5vaHpWCoFAbYbTueVmE48GEwBFUvrJS9g",
            262143: "QmQ7nfYVCVUZFfWPPdeoGCwZ2aTnai7MW49y34JxrnMjDg",
            262144: "Qma8iYabJuw8DhVJ6yV14tKDQBhb6sApmYy8pVqEvxz2H4",
            262145: "QmZRZYEtyYsJWDc4bCne5vmXzndMefW6W7Gx1zLmw67QuT",
            1000000: "QmNrbRPZ2Fqgp6kT2rhfq4iBuN5bGx3mTKHybrMCbvgVww",
            45875201: "QmWt6rSHT8hSx4SUTfpykKLX363RrthRcd8skNULZwqQUz",
        },
    ),
    # --cid-version=1 --raw-leaves=true --chunker=size-64 --max-file-links=3
    "small-raw": (
        (1, True, 64, 3),
        {
            0: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            1: "bafkreic2nz5eovfprz7up7eusmca3bj6pma6hhktpsy52nj4so324whlhu",
            63: "bafkreigzefkc77r6jp3do6uo4zrj4xm6m3bbohyuff6qsc3n5ugw2g4n2m",
            64: "bafkreiarfvkg2qtlb5sv7k6d4nebyhlcnnxqqza722jnamuyzlybjobzku",
            65: "bafybeihljd53mrq6tmtlugxumkkglzja5gmuldxfaw2ts5jcl2zmvrhgcq",
            191: "bafybeia5vrlamytemgitbxvh5sp3lbi4ac4mduew4gwp7uo4rsom6ssw4q",
            192: "bafybeifncxnyerv23zk2vjv5l56lqf3vpjapjtatfoq6eawbkypyvkueb4",
            193: "bafybeia6gcmqvupikoqsbwqem3oayq4xooei75ustsfhiuol2jsfvfx274",
            256: "bafybeiactdc7mgg5dkh52om6ak3m7cshzgvpkydrsvok5qexsppg7qwzvi",
            576: "bafybeicyzntmgivev4q4xe4ekmq6oj3ivh52zky6jk3pbwnomxiak2mweu",
            577: "bafybeihq53o5drhk7wgnug5mkoamzt3tezadpuo5pc2ze3f2qo6sr7j3r4",
            1728: "bafybeibtxmeb7jlau6jrv6zsgi47qacifu7uf4why3lxetigeija4g6fwm",
            1729: "bafybeicf5f5s4pvczv2mylh43umujd5z2otpzdxpzhmy5jvr3cbeg5oqsy",
            2000: "bafybeifgpkl6bwmqkuigia4haa4thlirhitb56tqed5jhax4kpe6t5olam",
            5184: "bafybeiflmolibu2fitagz54z3g44oqxv3j4hbpmbjfgfxmqj7j4n3tcs3y",
            5185: "bafybeigdwuxi5vlw623p5uctsyf2s6z6xne7boccpmxscriutgv2pg5zb4",
        },
    ),
    # --cid-version=0 --raw-leaves=false --chunker=size-64 --max-file-links=3
    "small-v0": (
        (0, False, 64, 3),
        {
            0: "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH",
            1: "QmboLZtGz8oLt5vaHpWCoFAbYbTueVmE48GEwBFUvrJS9g",
            63: "QmZZMG9YiLey7xjmokYuMfP752xbYMExJjNbc2HHtNozV7",
            64: "QmSAp6qkDzQ96saWQY8nA7aW9QzeZkmccyeaZbz6kVGvDQ",
            65: "QmUrgoeQLwTBwkJZiTaf7qaeKn3Guydn1vaJt1xfoTLVZT",
            191: "QmYCfKKNj51oXeFqpjEXJiRRjdzqE1UfoiF1XpE5Nso5nB",
            192: "Qmbo8AJq2gmhGiR3T34WZm4JSnircSnsgeHhVNWeUpMQmU",
            193: "QmU5Mu4GXJYo14fZmu6jwjxZZ2ncVk67gDkCHyWgM7NnKs",
            256: "QmUv6SxLyENdouHvnCsLrNPaHEfVKSzoc1YVUjKRBveQVQ",
            576: "QmTz5m9K98HrijTqVVV26BiqcZCzuYkrXfZatrqjzB27Wq",
            577: "Qma12EfvqGhb83Kui3jjT161iMga9kw315i1ZEJVHWwseV",
            1728: "QmbarjV3UPGeifTeL7AgTeKYUwGMJeTaucegesbFoSVUXE",
            1729: "QmUbbqxdJkwUrcBPJpx3rAKQvZPtrhP2PMjv3ukof7WVfP",
            2000: "Qme4FJFqJcfbg1PuwfRtySLQkHgEEsSHPPgaoCQsQ3uYPT",
            5184: "QmNSw7cbghm2LP6axur1AxohfW2mEvmLiapC2P27LmE8Mb",
            5185: "QmTk6V3dQj3mota4tbAr96Q5MirWWwaDffQcBznVbH7r5B",
        },
    ),
    # --cid-version=1 --raw-leaves=false --chunker=size-64 --max-file-links=3
    "small-wrapped": (
        (1, False, 64, 3),
        {
            0: "bafybeif7ztnhq65lumvvtr4ekcwd2ifwgm3awq4zfr3srh462rwyinlb4y",
            1: "bafybeigh7ymvikbmr47lmair4or6ovntt5fsr54btvsjp73jt5i2n2f7cm",
            64: "bafybeiby5ghsjvswlu2wgvxnnafom2a2wln3nh4f66uyngtdrzdx65vw7m",
            65: "bafybeia7souzil2osh6sbpjogem5echtm2cqkhjn4vwvehlcl457j2mrim",
            192: "bafybeidlzbwsev2tbb7ixpomidqat5oaagwmt726udbmqey4sc2dbyyhcu",
            193: "bafybeifvvfwl44exjsngnzla4hw5kn57vno3jsh67gwml6b3x2laxihxnm",
            577: "bafybeicuo2tqthup6rlqphwpj7efwcf5567b55bcbzjjrll4eygspxmusa",
            1729: "bafybeibqlzyofjlwbz22rqm3lpkuifh4ldpevgd645j6y2mkpvzfbhqldm",
            5185: "bafybeie6b2rod5aiz2wfp3tqqlqjyszsy52kkzf5uo4tlvymyewi7o5bsi",
        },
    ),
    # --cid-version=0 --raw-leaves=true --chunker=size-64 --max-file-links=3
    "small-v0-raw": (
        (0, True, 64, 3),
        {
            0: "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            1: "bafkreic2nz5eovfprz7up7eusmca3bj6pma6hhktpsy52nj4so324whlhu",
            64: "bafkreiarfvkg2qtlb5sv7k6d4nebyhlcnnxqqza722jnamuyzlybjobzku",
            65: "QmeB74jpDtNpTWDRamVXEY1eJRHuojQKt98te7VKSiiLQT",
            193: "QmTgkeEvV3n1fdnKScBzG37thkDP2JKng3AuAMnzbbppeh",
            577: "QmPgX26u6U8FLn8a31h2pXCxfeMH5pUqeRLfcXGyphQTUx",
        },
    ),
}

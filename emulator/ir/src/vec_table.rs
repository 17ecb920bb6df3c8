//! The vector operations: one row each.

/// Calls `$callback!` with the rows of the vector op table.
///
/// A row is `Variant "ir name" "mnemonic" Sig Unit prefix Map opcode Width Form;`. The IR name is
/// the mnemonic, made unique where the mnemonic is not. Sig is a [`VecSig`](crate::VecSig); Unit
/// is `Mxcsr` for floating-point ops that obey and change MXCSR, `Int` for all others; the rest is
/// the [`VecEncoding`](crate::VecEncoding) (SDM vol. 2).
#[macro_export]
macro_rules! for_each_vec_op {
    ($callback:ident) => {
        $callback! {
            // Integer arithmetic, SSE2.
            Paddb           "paddb"           "paddb"           VV       Int   0x66 Of   0xfc W0     Rm;
            Paddw           "paddw"           "paddw"           VV       Int   0x66 Of   0xfd W0     Rm;
            Paddd           "paddd"           "paddd"           VV       Int   0x66 Of   0xfe W0     Rm;
            Paddq           "paddq"           "paddq"           VV       Int   0x66 Of   0xd4 W0     Rm;
            Psubb           "psubb"           "psubb"           VV       Int   0x66 Of   0xf8 W0     Rm;
            Psubw           "psubw"           "psubw"           VV       Int   0x66 Of   0xf9 W0     Rm;
            Psubd           "psubd"           "psubd"           VV       Int   0x66 Of   0xfa W0     Rm;
            Psubq           "psubq"           "psubq"           VV       Int   0x66 Of   0xfb W0     Rm;
            Paddsb          "paddsb"          "paddsb"          VV       Int   0x66 Of   0xec W0     Rm;
            Paddsw          "paddsw"          "paddsw"          VV       Int   0x66 Of   0xed W0     Rm;
            Paddusb         "paddusb"         "paddusb"         VV       Int   0x66 Of   0xdc W0     Rm;
            Paddusw         "paddusw"         "paddusw"         VV       Int   0x66 Of   0xdd W0     Rm;
            Psubsb          "psubsb"          "psubsb"          VV       Int   0x66 Of   0xe8 W0     Rm;
            Psubsw          "psubsw"          "psubsw"          VV       Int   0x66 Of   0xe9 W0     Rm;
            Psubusb         "psubusb"         "psubusb"         VV       Int   0x66 Of   0xd8 W0     Rm;
            Psubusw         "psubusw"         "psubusw"         VV       Int   0x66 Of   0xd9 W0     Rm;
            Pmullw          "pmullw"          "pmullw"          VV       Int   0x66 Of   0xd5 W0     Rm;
            Pmulhw          "pmulhw"          "pmulhw"          VV       Int   0x66 Of   0xe5 W0     Rm;
            Pmulhuw         "pmulhuw"         "pmulhuw"         VV       Int   0x66 Of   0xe4 W0     Rm;
            Pmuludq         "pmuludq"         "pmuludq"         VV       Int   0x66 Of   0xf4 W0     Rm;
            Pmaddwd         "pmaddwd"         "pmaddwd"         VV       Int   0x66 Of   0xf5 W0     Rm;
            Psadbw          "psadbw"          "psadbw"          VV       Int   0x66 Of   0xf6 W0     Rm;
            Pavgb           "pavgb"           "pavgb"           VV       Int   0x66 Of   0xe0 W0     Rm;
            Pavgw           "pavgw"           "pavgw"           VV       Int   0x66 Of   0xe3 W0     Rm;
            Pminub          "pminub"          "pminub"          VV       Int   0x66 Of   0xda W0     Rm;
            Pmaxub          "pmaxub"          "pmaxub"          VV       Int   0x66 Of   0xde W0     Rm;
            Pminsw          "pminsw"          "pminsw"          VV       Int   0x66 Of   0xea W0     Rm;
            Pmaxsw          "pmaxsw"          "pmaxsw"          VV       Int   0x66 Of   0xee W0     Rm;
            // Comparison and logic.
            Pcmpeqb         "pcmpeqb"         "pcmpeqb"         VV       Int   0x66 Of   0x74 W0     Rm;
            Pcmpeqw         "pcmpeqw"         "pcmpeqw"         VV       Int   0x66 Of   0x75 W0     Rm;
            Pcmpeqd         "pcmpeqd"         "pcmpeqd"         VV       Int   0x66 Of   0x76 W0     Rm;
            Pcmpgtb         "pcmpgtb"         "pcmpgtb"         VV       Int   0x66 Of   0x64 W0     Rm;
            Pcmpgtw         "pcmpgtw"         "pcmpgtw"         VV       Int   0x66 Of   0x65 W0     Rm;
            Pcmpgtd         "pcmpgtd"         "pcmpgtd"         VV       Int   0x66 Of   0x66 W0     Rm;
            Pand            "pand"            "pand"            VV       Int   0x66 Of   0xdb W0     Rm;
            Pandn           "pandn"           "pandn"           VV       Int   0x66 Of   0xdf W0     Rm;
            Por             "por"             "por"             VV       Int   0x66 Of   0xeb W0     Rm;
            Pxor            "pxor"            "pxor"            VV       Int   0x66 Of   0xef W0     Rm;
            // Shifts by the low 64 bits of b.
            Psllw           "psllw"           "psllw"           VV       Int   0x66 Of   0xf1 W0     Rm;
            Pslld           "pslld"           "pslld"           VV       Int   0x66 Of   0xf2 W0     Rm;
            Psllq           "psllq"           "psllq"           VV       Int   0x66 Of   0xf3 W0     Rm;
            Psrlw           "psrlw"           "psrlw"           VV       Int   0x66 Of   0xd1 W0     Rm;
            Psrld           "psrld"           "psrld"           VV       Int   0x66 Of   0xd2 W0     Rm;
            Psrlq           "psrlq"           "psrlq"           VV       Int   0x66 Of   0xd3 W0     Rm;
            Psraw           "psraw"           "psraw"           VV       Int   0x66 Of   0xe1 W0     Rm;
            Psrad           "psrad"           "psrad"           VV       Int   0x66 Of   0xe2 W0     Rm;
            // Shifts by the control byte; the last two by bytes.
            Psllwi          "psllwi"          "psllw"           VImm     Int   0x66 Of   0x71 W0     Digit(6);
            Pslldi          "pslldi"          "pslld"           VImm     Int   0x66 Of   0x72 W0     Digit(6);
            Psllqi          "psllqi"          "psllq"           VImm     Int   0x66 Of   0x73 W0     Digit(6);
            Psrlwi          "psrlwi"          "psrlw"           VImm     Int   0x66 Of   0x71 W0     Digit(2);
            Psrldi          "psrldi"          "psrld"           VImm     Int   0x66 Of   0x72 W0     Digit(2);
            Psrlqi          "psrlqi"          "psrlq"           VImm     Int   0x66 Of   0x73 W0     Digit(2);
            Psrawi          "psrawi"          "psraw"           VImm     Int   0x66 Of   0x71 W0     Digit(4);
            Psradi          "psradi"          "psrad"           VImm     Int   0x66 Of   0x72 W0     Digit(4);
            Pslldq          "pslldq"          "pslldq"          VImm     Int   0x66 Of   0x73 W0     Digit(7);
            Psrldq          "psrldq"          "psrldq"          VImm     Int   0x66 Of   0x73 W0     Digit(3);
            // Packing and shuffling, SSE2.
            Packsswb        "packsswb"        "packsswb"        VV       Int   0x66 Of   0x63 W0     Rm;
            Packssdw        "packssdw"        "packssdw"        VV       Int   0x66 Of   0x6b W0     Rm;
            Packuswb        "packuswb"        "packuswb"        VV       Int   0x66 Of   0x67 W0     Rm;
            Punpcklbw       "punpcklbw"       "punpcklbw"       VV       Int   0x66 Of   0x60 W0     Rm;
            Punpcklwd       "punpcklwd"       "punpcklwd"       VV       Int   0x66 Of   0x61 W0     Rm;
            Punpckldq       "punpckldq"       "punpckldq"       VV       Int   0x66 Of   0x62 W0     Rm;
            Punpcklqdq      "punpcklqdq"      "punpcklqdq"      VV       Int   0x66 Of   0x6c W0     Rm;
            Punpckhbw       "punpckhbw"       "punpckhbw"       VV       Int   0x66 Of   0x68 W0     Rm;
            Punpckhwd       "punpckhwd"       "punpckhwd"       VV       Int   0x66 Of   0x69 W0     Rm;
            Punpckhdq       "punpckhdq"       "punpckhdq"       VV       Int   0x66 Of   0x6a W0     Rm;
            Punpckhqdq      "punpckhqdq"      "punpckhqdq"      VV       Int   0x66 Of   0x6d W0     Rm;
            Pshufd          "pshufd"          "pshufd"          VImm     Int   0x66 Of   0x70 W0     Rm;
            Pshufhw         "pshufhw"         "pshufhw"         VImm     Int   0xf3 Of   0x70 W0     Rm;
            Pshuflw         "pshuflw"         "pshuflw"         VImm     Int   0xf2 Of   0x70 W0     Rm;
            // Between vectors and integers. `movd`, `movq` clear the upper lanes; `_out` is the other direction.
            Movd            "movd"            "movd"            FromInt  Int   0x66 Of   0x6e W0     Rm;
            Movq            "movq"            "movq"            FromInt  Int   0x66 Of   0x6e W1     Rm;
            MovdOut         "movd_out"        "movd"            ToInt    Int   0x66 Of   0x7e W0     Mr;
            MovqOut         "movq_out"        "movq"            ToInt    Int   0x66 Of   0x7e W1     Mr;
            Pinsrw          "pinsrw"          "pinsrw"          VIntImm  Int   0x66 Of   0xc4 W0     Rm;
            Pextrw          "pextrw"          "pextrw"          ToIntImm Int   0x66 Of   0xc5 W0     Rm;
            Pmovmskb        "pmovmskb"        "pmovmskb"        ToInt    Int   0x66 Of   0xd7 W0     Rm;
            Movmskps        "movmskps"        "movmskps"        ToInt    Int   0x00 Of   0x50 W0     Rm;
            Movmskpd        "movmskpd"        "movmskpd"        ToInt    Int   0x66 Of   0x50 W0     Rm;
            // Moves between registers. `movq_low` clears the high half; `movss`, `movsd` replace the low lane of a.
            MovqLow         "movq_low"        "movq"            V        Int   0xf3 Of   0x7e W0     Rm;
            Movss           "movss"           "movss"           VV       Int   0xf3 Of   0x10 W0     Rm;
            Movsd           "movsd"           "movsd"           VV       Int   0xf2 Of   0x10 W0     Rm;
            Movhlps         "movhlps"         "movhlps"         VV       Int   0x00 Of   0x12 W0     Rm;
            Movlhps         "movlhps"         "movlhps"         VV       Int   0x00 Of   0x16 W0     Rm;
            Movddup         "movddup"         "movddup"         V        Int   0xf2 Of   0x12 W0     Rm;
            Movshdup        "movshdup"        "movshdup"        V        Int   0xf3 Of   0x16 W0     Rm;
            Movsldup        "movsldup"        "movsldup"        V        Int   0xf3 Of   0x12 W0     Rm;
            // Floating-point arithmetic.
            Addps           "addps"           "addps"           VV       Mxcsr 0x00 Of   0x58 W0     Rm;
            Addpd           "addpd"           "addpd"           VV       Mxcsr 0x66 Of   0x58 W0     Rm;
            Addss           "addss"           "addss"           VV       Mxcsr 0xf3 Of   0x58 W0     Rm;
            Addsd           "addsd"           "addsd"           VV       Mxcsr 0xf2 Of   0x58 W0     Rm;
            Mulps           "mulps"           "mulps"           VV       Mxcsr 0x00 Of   0x59 W0     Rm;
            Mulpd           "mulpd"           "mulpd"           VV       Mxcsr 0x66 Of   0x59 W0     Rm;
            Mulss           "mulss"           "mulss"           VV       Mxcsr 0xf3 Of   0x59 W0     Rm;
            Mulsd           "mulsd"           "mulsd"           VV       Mxcsr 0xf2 Of   0x59 W0     Rm;
            Subps           "subps"           "subps"           VV       Mxcsr 0x00 Of   0x5c W0     Rm;
            Subpd           "subpd"           "subpd"           VV       Mxcsr 0x66 Of   0x5c W0     Rm;
            Subss           "subss"           "subss"           VV       Mxcsr 0xf3 Of   0x5c W0     Rm;
            Subsd           "subsd"           "subsd"           VV       Mxcsr 0xf2 Of   0x5c W0     Rm;
            Divps           "divps"           "divps"           VV       Mxcsr 0x00 Of   0x5e W0     Rm;
            Divpd           "divpd"           "divpd"           VV       Mxcsr 0x66 Of   0x5e W0     Rm;
            Divss           "divss"           "divss"           VV       Mxcsr 0xf3 Of   0x5e W0     Rm;
            Divsd           "divsd"           "divsd"           VV       Mxcsr 0xf2 Of   0x5e W0     Rm;
            Minps           "minps"           "minps"           VV       Mxcsr 0x00 Of   0x5d W0     Rm;
            Minpd           "minpd"           "minpd"           VV       Mxcsr 0x66 Of   0x5d W0     Rm;
            Minss           "minss"           "minss"           VV       Mxcsr 0xf3 Of   0x5d W0     Rm;
            Minsd           "minsd"           "minsd"           VV       Mxcsr 0xf2 Of   0x5d W0     Rm;
            Maxps           "maxps"           "maxps"           VV       Mxcsr 0x00 Of   0x5f W0     Rm;
            Maxpd           "maxpd"           "maxpd"           VV       Mxcsr 0x66 Of   0x5f W0     Rm;
            Maxss           "maxss"           "maxss"           VV       Mxcsr 0xf3 Of   0x5f W0     Rm;
            Maxsd           "maxsd"           "maxsd"           VV       Mxcsr 0xf2 Of   0x5f W0     Rm;
            Sqrtps          "sqrtps"          "sqrtps"          V        Mxcsr 0x00 Of   0x51 W0     Rm;
            Sqrtpd          "sqrtpd"          "sqrtpd"          V        Mxcsr 0x66 Of   0x51 W0     Rm;
            Sqrtss          "sqrtss"          "sqrtss"          VV       Mxcsr 0xf3 Of   0x51 W0     Rm;
            Sqrtsd          "sqrtsd"          "sqrtsd"          VV       Mxcsr 0xf2 Of   0x51 W0     Rm;
            Rcpps           "rcpps"           "rcpps"           V        Int   0x00 Of   0x53 W0     Rm;
            Rcpss           "rcpss"           "rcpss"           VV       Int   0xf3 Of   0x53 W0     Rm;
            Rsqrtps         "rsqrtps"         "rsqrtps"         V        Int   0x00 Of   0x52 W0     Rm;
            Rsqrtss         "rsqrtss"         "rsqrtss"         VV       Int   0xf3 Of   0x52 W0     Rm;
            Addsubps        "addsubps"        "addsubps"        VV       Mxcsr 0xf2 Of   0xd0 W0     Rm;
            Addsubpd        "addsubpd"        "addsubpd"        VV       Mxcsr 0x66 Of   0xd0 W0     Rm;
            Haddps          "haddps"          "haddps"          VV       Mxcsr 0xf2 Of   0x7c W0     Rm;
            Haddpd          "haddpd"          "haddpd"          VV       Mxcsr 0x66 Of   0x7c W0     Rm;
            Hsubps          "hsubps"          "hsubps"          VV       Mxcsr 0xf2 Of   0x7d W0     Rm;
            Hsubpd          "hsubpd"          "hsubpd"          VV       Mxcsr 0x66 Of   0x7d W0     Rm;
            Andps           "andps"           "andps"           VV       Int   0x00 Of   0x54 W0     Rm;
            Andpd           "andpd"           "andpd"           VV       Int   0x66 Of   0x54 W0     Rm;
            Andnps          "andnps"          "andnps"          VV       Int   0x00 Of   0x55 W0     Rm;
            Andnpd          "andnpd"          "andnpd"          VV       Int   0x66 Of   0x55 W0     Rm;
            Orps            "orps"            "orps"            VV       Int   0x00 Of   0x56 W0     Rm;
            Orpd            "orpd"            "orpd"            VV       Int   0x66 Of   0x56 W0     Rm;
            Xorps           "xorps"           "xorps"           VV       Int   0x00 Of   0x57 W0     Rm;
            Xorpd           "xorpd"           "xorpd"           VV       Int   0x66 Of   0x57 W0     Rm;
            // Floating-point comparison.
            Cmpps           "cmpps"           "cmpps"           VVImm    Mxcsr 0x00 Of   0xc2 W0     Rm;
            Cmppd           "cmppd"           "cmppd"           VVImm    Mxcsr 0x66 Of   0xc2 W0     Rm;
            Cmpss           "cmpss"           "cmpss"           VVImm    Mxcsr 0xf3 Of   0xc2 W0     Rm;
            Cmpsd           "cmpsd"           "cmpsd"           VVImm    Mxcsr 0xf2 Of   0xc2 W0     Rm;
            Ucomiss         "ucomiss"         "ucomiss"         Flags    Mxcsr 0x00 Of   0x2e W0     Rm;
            Ucomisd         "ucomisd"         "ucomisd"         Flags    Mxcsr 0x66 Of   0x2e W0     Rm;
            Comiss          "comiss"          "comiss"          Flags    Mxcsr 0x00 Of   0x2f W0     Rm;
            Comisd          "comisd"          "comisd"          Flags    Mxcsr 0x66 Of   0x2f W0     Rm;
            // Floating-point shuffling.
            Unpcklps        "unpcklps"        "unpcklps"        VV       Int   0x00 Of   0x14 W0     Rm;
            Unpcklpd        "unpcklpd"        "unpcklpd"        VV       Int   0x66 Of   0x14 W0     Rm;
            Unpckhps        "unpckhps"        "unpckhps"        VV       Int   0x00 Of   0x15 W0     Rm;
            Unpckhpd        "unpckhpd"        "unpckhpd"        VV       Int   0x66 Of   0x15 W0     Rm;
            Shufps          "shufps"          "shufps"          VVImm    Int   0x00 Of   0xc6 W0     Rm;
            Shufpd          "shufpd"          "shufpd"          VVImm    Int   0x66 Of   0xc6 W0     Rm;
            // Conversion.
            Cvtdq2ps        "cvtdq2ps"        "cvtdq2ps"        V        Mxcsr 0x00 Of   0x5b W0     Rm;
            Cvtps2dq        "cvtps2dq"        "cvtps2dq"        V        Mxcsr 0x66 Of   0x5b W0     Rm;
            Cvttps2dq       "cvttps2dq"       "cvttps2dq"       V        Mxcsr 0xf3 Of   0x5b W0     Rm;
            Cvtdq2pd        "cvtdq2pd"        "cvtdq2pd"        V        Int   0xf3 Of   0xe6 W0     Rm;
            Cvtpd2dq        "cvtpd2dq"        "cvtpd2dq"        V        Mxcsr 0xf2 Of   0xe6 W0     Rm;
            Cvttpd2dq       "cvttpd2dq"       "cvttpd2dq"       V        Mxcsr 0x66 Of   0xe6 W0     Rm;
            Cvtps2pd        "cvtps2pd"        "cvtps2pd"        V        Mxcsr 0x00 Of   0x5a W0     Rm;
            Cvtpd2ps        "cvtpd2ps"        "cvtpd2ps"        V        Mxcsr 0x66 Of   0x5a W0     Rm;
            Cvtss2sd        "cvtss2sd"        "cvtss2sd"        VV       Mxcsr 0xf3 Of   0x5a W0     Rm;
            Cvtsd2ss        "cvtsd2ss"        "cvtsd2ss"        VV       Mxcsr 0xf2 Of   0x5a W0     Rm;
            Cvtsi2ss32      "cvtsi2ss32"      "cvtsi2ss"        VInt     Mxcsr 0xf3 Of   0x2a W0     Rm;
            Cvtsi2ss64      "cvtsi2ss64"      "cvtsi2ss"        VInt     Mxcsr 0xf3 Of   0x2a W1     Rm;
            Cvtss2si        "cvtss2si"        "cvtss2si"        ToInt    Mxcsr 0xf3 Of   0x2d ByType Rm;
            Cvttss2si       "cvttss2si"       "cvttss2si"       ToInt    Mxcsr 0xf3 Of   0x2c ByType Rm;
            Cvtsi2sd32      "cvtsi2sd32"      "cvtsi2sd"        VInt     Int   0xf2 Of   0x2a W0     Rm;
            Cvtsi2sd64      "cvtsi2sd64"      "cvtsi2sd"        VInt     Mxcsr 0xf2 Of   0x2a W1     Rm;
            Cvtsd2si        "cvtsd2si"        "cvtsd2si"        ToInt    Mxcsr 0xf2 Of   0x2d ByType Rm;
            Cvttsd2si       "cvttsd2si"       "cvttsd2si"       ToInt    Mxcsr 0xf2 Of   0x2c ByType Rm;
            // SSSE3.
            Pshufb          "pshufb"          "pshufb"          VV       Int   0x66 Of38 0x00 W0     Rm;
            Phaddw          "phaddw"          "phaddw"          VV       Int   0x66 Of38 0x01 W0     Rm;
            Phaddd          "phaddd"          "phaddd"          VV       Int   0x66 Of38 0x02 W0     Rm;
            Phaddsw         "phaddsw"         "phaddsw"         VV       Int   0x66 Of38 0x03 W0     Rm;
            Pmaddubsw       "pmaddubsw"       "pmaddubsw"       VV       Int   0x66 Of38 0x04 W0     Rm;
            Phsubw          "phsubw"          "phsubw"          VV       Int   0x66 Of38 0x05 W0     Rm;
            Phsubd          "phsubd"          "phsubd"          VV       Int   0x66 Of38 0x06 W0     Rm;
            Phsubsw         "phsubsw"         "phsubsw"         VV       Int   0x66 Of38 0x07 W0     Rm;
            Psignb          "psignb"          "psignb"          VV       Int   0x66 Of38 0x08 W0     Rm;
            Psignw          "psignw"          "psignw"          VV       Int   0x66 Of38 0x09 W0     Rm;
            Psignd          "psignd"          "psignd"          VV       Int   0x66 Of38 0x0a W0     Rm;
            Pmulhrsw        "pmulhrsw"        "pmulhrsw"        VV       Int   0x66 Of38 0x0b W0     Rm;
            Pabsb           "pabsb"           "pabsb"           V        Int   0x66 Of38 0x1c W0     Rm;
            Pabsw           "pabsw"           "pabsw"           V        Int   0x66 Of38 0x1d W0     Rm;
            Pabsd           "pabsd"           "pabsd"           V        Int   0x66 Of38 0x1e W0     Rm;
            Palignr         "palignr"         "palignr"         VVImm    Int   0x66 Of3A 0x0f W0     Rm;
            // SSE4.1 and SSE4.2.
            Pblendvb        "pblendvb"        "pblendvb"        VVV      Int   0x66 Of38 0x10 W0     RmXmm0;
            Blendvps        "blendvps"        "blendvps"        VVV      Int   0x66 Of38 0x14 W0     RmXmm0;
            Blendvpd        "blendvpd"        "blendvpd"        VVV      Int   0x66 Of38 0x15 W0     RmXmm0;
            Blendps         "blendps"         "blendps"         VVImm    Int   0x66 Of3A 0x0c W0     Rm;
            Blendpd         "blendpd"         "blendpd"         VVImm    Int   0x66 Of3A 0x0d W0     Rm;
            Pblendw         "pblendw"         "pblendw"         VVImm    Int   0x66 Of3A 0x0e W0     Rm;
            Ptest           "ptest"           "ptest"           Flags    Int   0x66 Of38 0x17 W0     Rm;
            Pmovsxbw        "pmovsxbw"        "pmovsxbw"        V        Int   0x66 Of38 0x20 W0     Rm;
            Pmovsxbd        "pmovsxbd"        "pmovsxbd"        V        Int   0x66 Of38 0x21 W0     Rm;
            Pmovsxbq        "pmovsxbq"        "pmovsxbq"        V        Int   0x66 Of38 0x22 W0     Rm;
            Pmovsxwd        "pmovsxwd"        "pmovsxwd"        V        Int   0x66 Of38 0x23 W0     Rm;
            Pmovsxwq        "pmovsxwq"        "pmovsxwq"        V        Int   0x66 Of38 0x24 W0     Rm;
            Pmovsxdq        "pmovsxdq"        "pmovsxdq"        V        Int   0x66 Of38 0x25 W0     Rm;
            Pmovzxbw        "pmovzxbw"        "pmovzxbw"        V        Int   0x66 Of38 0x30 W0     Rm;
            Pmovzxbd        "pmovzxbd"        "pmovzxbd"        V        Int   0x66 Of38 0x31 W0     Rm;
            Pmovzxbq        "pmovzxbq"        "pmovzxbq"        V        Int   0x66 Of38 0x32 W0     Rm;
            Pmovzxwd        "pmovzxwd"        "pmovzxwd"        V        Int   0x66 Of38 0x33 W0     Rm;
            Pmovzxwq        "pmovzxwq"        "pmovzxwq"        V        Int   0x66 Of38 0x34 W0     Rm;
            Pmovzxdq        "pmovzxdq"        "pmovzxdq"        V        Int   0x66 Of38 0x35 W0     Rm;
            Pmuldq          "pmuldq"          "pmuldq"          VV       Int   0x66 Of38 0x28 W0     Rm;
            Pcmpeqq         "pcmpeqq"         "pcmpeqq"         VV       Int   0x66 Of38 0x29 W0     Rm;
            Packusdw        "packusdw"        "packusdw"        VV       Int   0x66 Of38 0x2b W0     Rm;
            Pcmpgtq         "pcmpgtq"         "pcmpgtq"         VV       Int   0x66 Of38 0x37 W0     Rm;
            Pminsb          "pminsb"          "pminsb"          VV       Int   0x66 Of38 0x38 W0     Rm;
            Pminsd          "pminsd"          "pminsd"          VV       Int   0x66 Of38 0x39 W0     Rm;
            Pminuw          "pminuw"          "pminuw"          VV       Int   0x66 Of38 0x3a W0     Rm;
            Pminud          "pminud"          "pminud"          VV       Int   0x66 Of38 0x3b W0     Rm;
            Pmaxsb          "pmaxsb"          "pmaxsb"          VV       Int   0x66 Of38 0x3c W0     Rm;
            Pmaxsd          "pmaxsd"          "pmaxsd"          VV       Int   0x66 Of38 0x3d W0     Rm;
            Pmaxuw          "pmaxuw"          "pmaxuw"          VV       Int   0x66 Of38 0x3e W0     Rm;
            Pmaxud          "pmaxud"          "pmaxud"          VV       Int   0x66 Of38 0x3f W0     Rm;
            Pmulld          "pmulld"          "pmulld"          VV       Int   0x66 Of38 0x40 W0     Rm;
            Phminposuw      "phminposuw"      "phminposuw"      V        Int   0x66 Of38 0x41 W0     Rm;
            Mpsadbw         "mpsadbw"         "mpsadbw"         VVImm    Int   0x66 Of3A 0x42 W0     Rm;
            Insertps        "insertps"        "insertps"        VVImm    Int   0x66 Of3A 0x21 W0     Rm;
            Pinsrb          "pinsrb"          "pinsrb"          VIntImm  Int   0x66 Of3A 0x20 W0     Rm;
            Pinsrd          "pinsrd"          "pinsrd"          VIntImm  Int   0x66 Of3A 0x22 W0     Rm;
            Pinsrq          "pinsrq"          "pinsrq"          VIntImm  Int   0x66 Of3A 0x22 W1     Rm;
            Pextrb          "pextrb"          "pextrb"          ToIntImm Int   0x66 Of3A 0x14 W0     Mr;
            Pextrd          "pextrd"          "pextrd"          ToIntImm Int   0x66 Of3A 0x16 W0     Mr;
            Pextrq          "pextrq"          "pextrq"          ToIntImm Int   0x66 Of3A 0x16 W1     Mr;
            Roundps         "roundps"         "roundps"         VImm     Mxcsr 0x66 Of3A 0x08 W0     Rm;
            Roundpd         "roundpd"         "roundpd"         VImm     Mxcsr 0x66 Of3A 0x09 W0     Rm;
            Roundss         "roundss"         "roundss"         VVImm    Mxcsr 0x66 Of3A 0x0a W0     Rm;
            Roundsd         "roundsd"         "roundsd"         VVImm    Mxcsr 0x66 Of3A 0x0b W0     Rm;
            Dpps            "dpps"            "dpps"            VVImm    Mxcsr 0x66 Of3A 0x40 W0     Rm;
            Dppd            "dppd"            "dppd"            VVImm    Mxcsr 0x66 Of3A 0x41 W0     Rm;
            // AES and carry-less multiplication.
            Aesenc          "aesenc"          "aesenc"          VV       Int   0x66 Of38 0xdc W0     Rm;
            Aesenclast      "aesenclast"      "aesenclast"      VV       Int   0x66 Of38 0xdd W0     Rm;
            Aesdec          "aesdec"          "aesdec"          VV       Int   0x66 Of38 0xde W0     Rm;
            Aesdeclast      "aesdeclast"      "aesdeclast"      VV       Int   0x66 Of38 0xdf W0     Rm;
            Aesimc          "aesimc"          "aesimc"          V        Int   0x66 Of38 0xdb W0     Rm;
            Aeskeygenassist "aeskeygenassist" "aeskeygenassist" VImm     Int   0x66 Of3A 0xdf W0     Rm;
            Pclmulqdq       "pclmulqdq"       "pclmulqdq"       VVImm    Int   0x66 Of3A 0x44 W0     Rm;
        }
    };
}

//! Which vector op a VEX-encoded instruction is.

use emu_ir::VecOp;
use iced_x86::Mnemonic;

macro_rules! ops {
    ($($mnemonic:ident $(: $op:ident)?,)*) => {
        /// The op of a mnemonic, for instructions that are one op on their operands.
        pub(super) fn op(m: Mnemonic) -> Option<VecOp> {
            Some(match m {
                $(Mnemonic::$mnemonic => ops!(@ $mnemonic $($op)?),)*
                _ => return None,
            })
        }
    };
    (@ $mnemonic:ident) => { VecOp::$mnemonic };
    (@ $mnemonic:ident $op:ident) => { VecOp::$op };
}

ops! {
    Vpaddb: Paddb, Vpaddw: Paddw, Vpaddd: Paddd, Vpaddq: Paddq, Vpsubb: Psubb, Vpsubw: Psubw,
    Vpsubd: Psubd, Vpsubq: Psubq, Vpaddsb: Paddsb, Vpaddsw: Paddsw, Vpaddusb: Paddusb,
    Vpaddusw: Paddusw, Vpsubsb: Psubsb, Vpsubsw: Psubsw, Vpsubusb: Psubusb, Vpsubusw: Psubusw,
    Vpmullw: Pmullw, Vpmulhw: Pmulhw, Vpmulhuw: Pmulhuw, Vpmuludq: Pmuludq, Vpmaddwd: Pmaddwd,
    Vpsadbw: Psadbw, Vpavgb: Pavgb, Vpavgw: Pavgw, Vpminub: Pminub, Vpmaxub: Pmaxub,
    Vpminsw: Pminsw, Vpmaxsw: Pmaxsw, Vpcmpeqb: Pcmpeqb, Vpcmpeqw: Pcmpeqw, Vpcmpeqd: Pcmpeqd,
    Vpcmpgtb: Pcmpgtb, Vpcmpgtw: Pcmpgtw, Vpcmpgtd: Pcmpgtd, Vpand: Pand, Vpandn: Pandn, Vpor: Por,
    Vpxor: Pxor, Vpacksswb: Packsswb, Vpackssdw: Packssdw, Vpackuswb: Packuswb,
    Vpunpcklbw: Punpcklbw, Vpunpcklwd: Punpcklwd, Vpunpckldq: Punpckldq, Vpunpcklqdq: Punpcklqdq,
    Vpunpckhbw: Punpckhbw, Vpunpckhwd: Punpckhwd, Vpunpckhdq: Punpckhdq, Vpunpckhqdq: Punpckhqdq,
    Vpshufd: Pshufd, Vpshufhw: Pshufhw, Vpshuflw: Pshuflw, Vmovhlps: Movhlps, Vmovlhps: Movlhps,
    Vmovddup: Movddup, Vmovshdup: Movshdup, Vmovsldup: Movsldup, Vaddps: Addps, Vaddpd: Addpd,
    Vaddss: Addss, Vaddsd: Addsd, Vmulps: Mulps, Vmulpd: Mulpd, Vmulss: Mulss, Vmulsd: Mulsd,
    Vsubps: Subps, Vsubpd: Subpd, Vsubss: Subss, Vsubsd: Subsd, Vdivps: Divps, Vdivpd: Divpd,
    Vdivss: Divss, Vdivsd: Divsd, Vminps: Minps, Vminpd: Minpd, Vminss: Minss, Vminsd: Minsd,
    Vmaxps: Maxps, Vmaxpd: Maxpd, Vmaxss: Maxss, Vmaxsd: Maxsd, Vsqrtps: Sqrtps, Vsqrtpd: Sqrtpd,
    Vsqrtss: Sqrtss, Vsqrtsd: Sqrtsd, Vrcpps: Rcpps, Vrcpss: Rcpss, Vrsqrtps: Rsqrtps,
    Vrsqrtss: Rsqrtss, Vaddsubps: Addsubps, Vaddsubpd: Addsubpd, Vhaddps: Haddps, Vhaddpd: Haddpd,
    Vhsubps: Hsubps, Vhsubpd: Hsubpd, Vandps: Andps, Vandpd: Andpd, Vandnps: Andnps,
    Vandnpd: Andnpd, Vorps: Orps, Vorpd: Orpd, Vxorps: Xorps, Vxorpd: Xorpd, Vcmpps: Cmpps,
    Vcmppd: Cmppd, Vcmpss: Cmpss, Vcmpsd: Cmpsd, Vucomiss: Ucomiss, Vucomisd: Ucomisd,
    Vcomiss: Comiss, Vcomisd: Comisd, Vunpcklps: Unpcklps, Vunpcklpd: Unpcklpd,
    Vunpckhps: Unpckhps, Vunpckhpd: Unpckhpd, Vshufps: Shufps, Vshufpd: Shufpd,
    Vcvtdq2ps: Cvtdq2ps, Vcvtps2dq: Cvtps2dq, Vcvttps2dq: Cvttps2dq, Vcvtdq2pd: Cvtdq2pd,
    Vcvtpd2dq: Cvtpd2dq, Vcvttpd2dq: Cvttpd2dq, Vcvtps2pd: Cvtps2pd, Vcvtpd2ps: Cvtpd2ps,
    Vcvtss2sd: Cvtss2sd, Vcvtsd2ss: Cvtsd2ss, Vpshufb: Pshufb, Vphaddw: Phaddw, Vphaddd: Phaddd,
    Vphaddsw: Phaddsw, Vpmaddubsw: Pmaddubsw, Vphsubw: Phsubw, Vphsubd: Phsubd, Vphsubsw: Phsubsw,
    Vpsignb: Psignb, Vpsignw: Psignw, Vpsignd: Psignd, Vpmulhrsw: Pmulhrsw, Vpabsb: Pabsb,
    Vpabsw: Pabsw, Vpabsd: Pabsd, Vpalignr: Palignr, Vpblendvb: Pblendvb, Vblendvps: Blendvps,
    Vblendvpd: Blendvpd, Vblendps: Blendps, Vblendpd: Blendpd, Vpblendw: Pblendw, Vptest: Ptest,
    Vpmovsxbw: Pmovsxbw, Vpmovsxbd: Pmovsxbd, Vpmovsxbq: Pmovsxbq, Vpmovsxwd: Pmovsxwd,
    Vpmovsxwq: Pmovsxwq, Vpmovsxdq: Pmovsxdq, Vpmovzxbw: Pmovzxbw, Vpmovzxbd: Pmovzxbd,
    Vpmovzxbq: Pmovzxbq, Vpmovzxwd: Pmovzxwd, Vpmovzxwq: Pmovzxwq, Vpmovzxdq: Pmovzxdq,
    Vpmuldq: Pmuldq, Vpcmpeqq: Pcmpeqq, Vpackusdw: Packusdw, Vpcmpgtq: Pcmpgtq, Vpminsb: Pminsb,
    Vpminsd: Pminsd, Vpminuw: Pminuw, Vpminud: Pminud, Vpmaxsb: Pmaxsb, Vpmaxsd: Pmaxsd,
    Vpmaxuw: Pmaxuw, Vpmaxud: Pmaxud, Vpmulld: Pmulld, Vphminposuw: Phminposuw, Vmpsadbw: Mpsadbw,
    Vroundps: Roundps, Vroundpd: Roundpd, Vroundss: Roundss, Vroundsd: Roundsd, Vdpps: Dpps,
    Vdppd: Dppd, Vaesenc: Aesenc, Vaesenclast: Aesenclast, Vaesdec: Aesdec,
    Vaesdeclast: Aesdeclast, Vaesimc: Aesimc, Vaeskeygenassist: Aeskeygenassist,
    Vpclmulqdq: Pclmulqdq, Vpermilps, Vpermilpd, Vpermd, Vpermps, Vpermq, Vpermpd, Vperm2i128,
    Vpblendd, Vpsllvd, Vpsllvq, Vpsrlvd, Vpsrlvq, Vpsravd, Vtestps, Vtestpd, Vcvtph2ps,
    Vpbroadcastb, Vpbroadcastw, Vpbroadcastd, Vpbroadcastq, Vperm2f128: Vperm2i128,
    Vbroadcastss: Vpbroadcastd, Vbroadcastsd: Vpbroadcastq, Vfmaddsub132ps, Vfmaddsub132pd,
    Vfmsubadd132ps, Vfmsubadd132pd, Vfmadd132ps, Vfmadd132pd, Vfmadd132ss, Vfmadd132sd,
    Vfmsub132ps, Vfmsub132pd, Vfmsub132ss, Vfmsub132sd, Vfnmadd132ps, Vfnmadd132pd, Vfnmadd132ss,
    Vfnmadd132sd, Vfnmsub132ps, Vfnmsub132pd, Vfnmsub132ss, Vfnmsub132sd, Vfmaddsub213ps,
    Vfmaddsub213pd, Vfmsubadd213ps, Vfmsubadd213pd, Vfmadd213ps, Vfmadd213pd, Vfmadd213ss,
    Vfmadd213sd, Vfmsub213ps, Vfmsub213pd, Vfmsub213ss, Vfmsub213sd, Vfnmadd213ps, Vfnmadd213pd,
    Vfnmadd213ss, Vfnmadd213sd, Vfnmsub213ps, Vfnmsub213pd, Vfnmsub213ss, Vfnmsub213sd,
    Vfmaddsub231ps, Vfmaddsub231pd, Vfmsubadd231ps, Vfmsubadd231pd, Vfmadd231ps, Vfmadd231pd,
    Vfmadd231ss, Vfmadd231sd, Vfmsub231ps, Vfmsub231pd, Vfmsub231ss, Vfmsub231sd, Vfnmadd231ps,
    Vfnmadd231pd, Vfnmadd231ss, Vfnmadd231sd, Vfnmsub231ps, Vfnmsub231pd, Vfnmsub231ss,
    Vfnmsub231sd,
}
